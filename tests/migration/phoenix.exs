# The application around the channel of `before/room_channel.ex`: phoenix.exs CHANNEL ADDRESS, with Phoenix, Bandit,
# Jason and what they stand on compiled in ERL_LIBS.

[channel, address] = System.argv()
[_, port] = String.split(address, ":")
Application.put_env(:phoenix, :json_library, Jason)

Application.put_env(:chat, ChatWeb.Endpoint,
  adapter: Bandit.PhoenixAdapter,
  http: [ip: {127, 0, 0, 1}, port: String.to_integer(port)],
  url: [host: "localhost"],
  secret_key_base: String.duplicate("a", 64),
  pubsub_server: Chat.PubSub,
  server: true
)

for application <- ~w(ssl eex logger telemetry mime plug_crypto plug jason hpax thousand_island websock websock_adapter
                      bandit phoenix_pubsub phoenix_template phoenix)a do
  {:ok, _} = Application.ensure_all_started(application)
end

Logger.configure(level: :none)

defmodule ChatWeb.Presence do
  use Phoenix.Presence, otp_app: :chat, pubsub_server: Chat.PubSub
end

Code.require_file(channel)

defmodule ChatWeb.UserSocket do
  use Phoenix.Socket
  channel("room:*", ChatWeb.RoomChannel)
  channel("vault:*", ChatWeb.RoomChannel)
  def connect(_params, socket, _info), do: {:ok, socket}
  def id(_socket), do: nil
end

defmodule ChatWeb.Endpoint do
  use Phoenix.Endpoint, otp_app: :chat
  socket("/socket", ChatWeb.UserSocket, websocket: true)
end

children = [{Phoenix.PubSub, name: Chat.PubSub}, ChatWeb.Presence, ChatWeb.Endpoint]
{:ok, _} = Supervisor.start_link(children, strategy: :one_for_one)
Process.sleep(:infinity)
