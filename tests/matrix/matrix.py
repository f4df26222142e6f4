"""See `run`."""
import datetime
import sys

import autobahn
import probes
import servers
import sources

WHAT = ("dependencies", "unsafe", "probes", "autobahn")


def main():
    arguments = sys.argv[1:]
    what = [word for word in arguments if word in WHAT] or WHAT
    names = [word for word in arguments if word not in WHAT]
    found = servers.commands(names) if {"probes", "autobahn"} & set(what) else {}
    for word in what:
        print(f"\n## {word}, {datetime.date.today()}\n", flush=True)
        match word:
            case "dependencies":
                sources.dependencies()
            case "unsafe":
                sources.unsafe()
            case "probes":
                probes.run(found)
            case "autobahn":
                autobahn.run(found)


main()
