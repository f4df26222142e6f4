defmodule ChatWeb.RoomChannel do
  use Phoenix.Channel
  alias ChatWeb.Presence

  @impl true
  def join("room:" <> _room, %{"name" => name}, socket) do
    send(self(), :after_join)
    {:ok, assign(socket, :name, name)}
  end

  def join(_topic, _payload, _socket), do: {:error, %{reason: "unauthorized"}}

  @impl true
  def handle_info(:after_join, socket) do
    {:ok, _} = Presence.track(socket, socket.assigns.name, %{})
    push(socket, "presence_state", Presence.list(socket))
    {:noreply, socket}
  end

  @impl true
  def handle_in("new_msg", payload, socket) do
    broadcast!(socket, "new_msg", payload)
    {:reply, :ok, socket}
  end

  @impl true
  def terminate(_reason, socket) do
    IO.puts("#{socket.assigns.name} has left #{socket.topic}")
  end
end
