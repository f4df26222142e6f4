<?php
require 'vendor/autoload.php';

use Ratchet\ConnectionInterface;
use Ratchet\Http\HttpServer;
use Ratchet\MessageComponentInterface;
use Ratchet\RFC6455\Messaging\Frame;
use Ratchet\Server\IoServer;
use Ratchet\WebSocket\WsServer;

class Chat implements MessageComponentInterface
{
    private array $rooms = [];

    public function onOpen(ConnectionInterface $member)
    {
        $member->room = $member->httpRequest->getUri()->getPath();
        $this->rooms[$member->room] ??= new SplObjectStorage();
        $this->rooms[$member->room]->attach($member);
    }

    public function onMessage(ConnectionInterface $member, $text)
    {
        if ($text === 'quit') {
            $payload = pack('n', 4001) . 'as you wish';
            $member->close(new Frame($payload, true, Frame::OP_CLOSE));
            return;
        }
        $this->broadcast($member->room, $text);
    }

    public function onClose(ConnectionInterface $member)
    {
        $this->rooms[$member->room]->detach($member);
        $this->broadcast($member->room, 'left');
    }

    public function onError(ConnectionInterface $member, Exception $error)
    {
        echo $error->getMessage(), "\n";
        $member->close();
    }

    private function broadcast(string $room, string $text)
    {
        foreach ($this->rooms[$room] as $member) {
            $member->send($text);
        }
    }
}

[$host, $port] = explode(':', $argv[1]);
$server = new HttpServer(new WsServer(new Chat()));
IoServer::factory($server, $port, $host)->run();
