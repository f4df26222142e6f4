<?php
use Swoole\Http\Request;
use Swoole\Table;
use Swoole\WebSocket\Frame;
use Swoole\WebSocket\Server;

[$host, $port] = explode(':', $argv[1]);
$server = new Server($host, (int) $port);
$members = new Table(1 << 16); // shared by all workers
$members->column('room', Table::TYPE_STRING, 64);
$members->create();

function broadcast(Server $server, Table $members, string $room, string $text)
{
    foreach ($members as $fd => $member) {
        if ($member['room'] === $room && $server->isEstablished((int) $fd)) {
            $server->push((int) $fd, $text);
        }
    }
}

$server->on('open', function (Server $server, Request $request) use ($members) {
    $members->set((string) $request->fd, ['room' => $request->server['request_uri']]);
});

$server->on('message', function (Server $server, Frame $frame) use ($members) {
    if ($frame->data === 'quit') {
        $server->disconnect($frame->fd, 4001, 'as you wish');
        return;
    }
    $room = $members->get((string) $frame->fd, 'room');
    broadcast($server, $members, $room, $frame->data);
});

$server->on('close', function (Server $server, int $fd) use ($members) {
    $room = $members->get((string) $fd, 'room');
    if ($room !== false) { // it was a WebSocket
        $members->del((string) $fd);
        broadcast($server, $members, $room, 'left');
    }
});

$server->start();
