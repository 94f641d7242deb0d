"""Writes the .calls files of real clients and servers beside it, as a proxy between the two saw them.

`python capture.py` with grpcio installed, `node` and `go` (1.24 or newer, GO=path) at hand. What they send differs from run
to run: a file is a recording, not to be made anew for nothing. The format is that of record.py.
"""

import os
import pathlib
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = pathlib.Path(__file__).parent

NODE_SERVER = """
const http2 = require('http2');
http2.createServer((q, s) => {
  let n = 0;
  q.on('data', d => n += d.length);
  q.on('end', () => setTimeout(() => {
    s.writeHead(q.url === '/missing' ? 404 : 200, {'content-type': 'text/plain', 'x-got': n});
    s.end('answer to ' + q.url);
  }, 20 - (q.url.length % 5) * 4));
}).listen(PORT, '127.0.0.1');
"""

NODE_CLIENT = """
const session = require('http2').connect('http://127.0.0.1:PORT');
const call = (path, body) => new Promise(done => {
  const q = session.request({':path': path, ':method': body ? 'POST' : 'GET', 'user-agent': 'node'});
  q.on('data', () => {}); q.on('end', done); q.end(body);
});
(async () => {
  await call('/first');
  await Promise.all(['/a', '/bb', '/ccc', '/missing'].map(p => call(p)));
  await Promise.all([call('/upload', 'x'.repeat(2000)), call('/a'), call('/bb')]);
  session.close();
})();
"""

GO = """
package main
import ("context"; "fmt"; "io"; "net/http"; "os"; "strings"; "sync")
func main() {
  var p http.Protocols
  p.SetUnencryptedHTTP2(true)
  if os.Args[1] == "server" {
    s := http.Server{Addr: "127.0.0.1:" + os.Args[2], Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
      b, _ := io.ReadAll(r.Body)
      w.Header().Set("Trailer", "X-Sum")
      fmt.Fprintf(w, "%s %d", r.URL.Path, len(b))
      w.Header().Set("X-Sum", "1")
    })}
    s.ListenAndServe()
    return
  }
  c := http.Client{Transport: &http.Transport{Protocols: &p}}
  call := func(method, path, body string) {
    q, _ := http.NewRequestWithContext(context.Background(), method, "http://127.0.0.1:" + os.Args[2] + path, strings.NewReader(body))
    a, err := c.Do(q)
    if err != nil { panic(err) }
    io.Copy(io.Discard, a.Body)
    a.Body.Close()
  }
  call("GET", "/first", "")
  var w sync.WaitGroup
  for i := 0; i < 6; i++ { w.Add(1); go func() { defer w.Done(); call("PUT", fmt.Sprintf("/item/%d", i % 3), strings.Repeat("y", 100 * i)) }() }
  w.Wait()
  call("DELETE", "/item/1", "")
}
"""

GRPC_SERVER = """
import concurrent.futures, grpc, sys
class Any(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.rsplit('/', 1)[1]
        if name == 'Unary': return grpc.unary_unary_rpc_method_handler(lambda q, c: q)
        if name == 'Down': return grpc.unary_stream_rpc_method_handler(lambda q, c: iter([q] * 3))
        if name == 'Up': return grpc.stream_unary_rpc_method_handler(lambda q, c: b''.join(q))
        if name == 'Both': return grpc.stream_stream_rpc_method_handler(lambda q, c: q)
        if name == 'Fail': return grpc.unary_unary_rpc_method_handler(lambda q, c: c.abort(grpc.StatusCode.NOT_FOUND, 'no'))
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Any()])
server.add_insecure_port('127.0.0.1:PORT')
server.start()
server.wait_for_termination()
"""

GRPC_CLIENT = """
import grpc
with grpc.insecure_channel('127.0.0.1:PORT') as channel:
    for _ in range(2):
        channel.unary_unary('/shop.Cart/Unary')(b'item', timeout=5)
    list(channel.unary_stream('/shop.Cart/Down')(b'item'))
    channel.stream_unary('/shop.Cart/Up')(iter([b'a', b'b']))
    list(channel.stream_stream('/shop.Cart/Both')(iter([b'a', b'b'])))
    for method in ['Fail', 'Missing']:
        try: channel.unary_unary('/shop.Cart/' + method)(b'item')
        except grpc.RpcError: pass
    calls = [channel.unary_unary('/shop.Cart/Unary').future(b'item') for _ in range(3)]
    [call.result() for call in calls]
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def relay(listener, port, lines):
    """One connection: what each end sends, call by call."""
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", port))
    selector = selectors.DefaultSelector()
    selector.register(client, selectors.EVENT_READ, (">", server))
    selector.register(server, selectors.EVENT_READ, ("<", client))
    while True:
        for key, _ in selector.select():
            mark, other = key.data
            data = key.fileobj.recv(65_536)
            if not data:
                return client.close(), server.close()
            lines.append(f"{mark} {data.hex()}")
            other.sendall(data)


def wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise TimeoutError(port)


def capture(name, note, server, client):
    lines, port = [], free_port()
    process = subprocess.Popen(server(port))
    try:
        wait_for(port)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=relay, args=(listener, port, lines))
            thread.start()
            subprocess.run(client(listener.getsockname()[1]), check=True, timeout=60)
            thread.join(10)
    finally:
        process.terminate()
        process.wait()
    (FOLDER / f"{name}.calls").write_text(f"# {note}\n" + "\n".join(lines) + "\n")


def main():
    python = lambda text: lambda port: [sys.executable, "-c", text.replace("PORT", str(port))]
    node = lambda text: lambda port: ["node", "-e", text.replace("PORT", str(port))]
    capture("real-grpc-python", "grpcio, client and server.", python(GRPC_SERVER), python(GRPC_CLIENT))
    capture("real-node", "Node's http2, client and server.", node(NODE_SERVER), node(NODE_CLIENT))
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "main.go").write_text(GO)
        binary = f"{folder}/main"
        subprocess.run([os.environ.get("GO", "go"), "build", "-o", binary, f"{folder}/main.go"], check=True)
        capture("real-go", "Go's net/http, client and server.", lambda p: [binary, "server", str(p)], lambda p: [binary, "client", str(p)])


if __name__ == "__main__":
    main()
