//! What publishing costs, beside the crate alone.

use std::time::Duration;

use tokio::runtime::Builder;

use crate::{
    Outcome,
    bare::Publisher,
    cpu,
    engine::Engine,
    node::{Node, payload},
    options::Options,
    report::{Goal, Report},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let node = Node::start(engine)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut bare = runtime.block_on(Publisher::connect(engine))?;
    let topic = engine.kind.spell("nobody");
    for (burst, bursts, goal) in [(64, 400, 0.5), (1, 4000, 2.0)] {
        let bursts = options.many(bursts);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let begun = cpu::of_thread();
            runtime.block_on(async {
                for _ in 0..bursts {
                    bare.publish(&topic, &payload(), burst).await?;
                }
                Outcome::Ok(())
            })?;
            let them = cpu::of_thread() - begun;
            let (done, us) = node.measure(async {
                for _ in 0..bursts {
                    for _ in 1..burst {
                        node.groups.broadcast("nobody", payload()).await;
                    }
                    node.groups.broadcast_confirmed("nobody", payload()).await?;
                }
                Outcome::Ok(())
            });
            done?;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / (bursts * burst) as f64;
            if round > 0 {
                theirs.push(each(them));
                ours.push(each(us));
            }
        }
        let what = match burst {
            1 => "CPU per published message, one alone, beside the crate".to_owned(),
            _ => format!(
                "CPU per published message, bursts of {burst}, beside a pipeline of the crate"
            ),
        };
        report.row(
            &what,
            engine.kind.name(),
            "µs",
            [&theirs, &ours],
            Goal::Plus(goal),
        );
    }
    Ok(())
}
