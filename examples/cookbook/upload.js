const SLICE = 64 << 10, AHEAD = 1 << 20; // bytes; the server tells how far it is every 256 KiB

/** Uploads a file; `progress` is called with the bytes that the server has. Returns the name that the file has there. */
export function upload(url, file, { progress = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const socket = new WebSocket(url);
    let sent = 0;
    const more = received => {
      // No more than so much is on its way: `bufferedAmount` stays below it, and a cancel waits for no more.
      for (; sent < file.size && sent - received < AHEAD; sent += SLICE) socket.send(file.slice(sent, sent + SLICE));
    };
    const cancel = () => {
      sent = file.size;
      if (socket.readyState === WebSocket.OPEN) socket.send('"cancel"');
      socket.close();
    };
    socket.onopen = () => socket.send(JSON.stringify({ size: file.size }));
    socket.onmessage = ({ data }) => {
      const { received, stored, refused } = JSON.parse(data);
      if (refused) reject(new Error(refused));
      if (stored) resolve(stored);
      if (stored || refused) return socket.close();
      progress(received);
      more(received);
    };
    socket.onclose = ({ code, reason }) => {
      signal?.removeEventListener('abort', cancel);
      reject(signal?.aborted ? signal.reason : new Error(`${code} ${reason}`)); // unless it is settled
    };
    signal?.addEventListener('abort', cancel);
  });
}
