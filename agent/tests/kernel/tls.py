"""Both ends of TLS connections in one thread, decrypting from memory as event loops do."""
import socket
import ssl

listeners = []


class End:
    def __init__(self, sock, context, server_side):
        self.sock, self.done = sock, False
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)

    def pull(self):
        self.incoming.write(self.sock.recv(65536))

    def push(self):
        self.sock.sendall(self.outgoing.read())

    def step(self):
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        self.push()

    def say(self, text):
        self.tls.write(text)
        self.push()

    def hear(self, size=65536):
        return self.tls.read(size)

    def get(self):
        self.pull()
        return self.hear()


def contexts(certificate, key):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.num_tickets = 0
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return client, server


def sockets(port):
    listeners.append(socket.create_server(("127.0.0.1", port)))
    client = socket.create_connection(("127.0.0.1", port))
    return client, listeners[-1].accept()[0]


def pair(port, client_context, server_context):
    client, server = sockets(port)
    client, server = End(client, client_context, False), End(server, server_context, True)
    client.step()
    while not server.done:
        server.pull()
        server.step()
        if not client.done:
            client.pull()
            client.step()
    return client, server
