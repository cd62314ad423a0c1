"""A TLS server that asks for a client certificate."""
import socket
import ssl
import threading
from pathlib import Path


class ClientAuthenticationServer:
    """Answers each request with a page whose title is the common name of the client's certificate, and remembers
    (TLS version, common name, path) or the error."""

    def __init__(self, folder: Path, certificate: str, key: str, ca: str):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / certificate, folder / key)
        self.context.load_verify_locations(folder / ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.num_tickets = 0  # each connection is a full handshake
        self.context.options |= ssl.OP_NO_TICKET
        self.seen, self.errors = [], []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                request = tls.recv(65536).decode(errors="replace")
                name = dict(part[0] for part in tls.getpeercert()["subject"])["commonName"]
                path = request.split(" ")[1] if request else ""
                self.seen.append((tls.version(), name, path))
                page = f"<title>{name}</title>".encode()
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                            % len(page) + page)
        except (OSError, KeyError, IndexError) as e:
            self.errors.append(repr(e))
