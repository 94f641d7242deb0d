"""An OTLP receiver that shares no code with the agent: grpcio and the classes generated from OpenTelemetry's .proto files.

Arguments: port for gRPC, port for HTTP, and for TLS a folder with ca.pem, server.pem and server.key.
Each span becomes one JSON line on stdout, each export request another. Commands come on stdin, one JSON object per line, and are
answered on stdout with an "answer" line, as is the start; at the end of stdin the receiver ends.

  {"mode": "accept"}                  answer every request as the protocol asks
  {"mode": "unavailable"}             503 / UNAVAILABLE: to be retried
  {"mode": "invalid"}                 400 / INVALID_ARGUMENT: not to be retried
  {"mode": "partial"}                 accept, but say that one span was rejected
  {"mode": "hang"}                    do not answer before the mode changes
  {"mode": "discard"}                 accept without a word on stdout
"""

import base64
import gzip
import json
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

MESSAGE_BYTES_MAX = 64 << 20
SPAN_KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]


def value(any_value):
    """A Python value of an AnyValue."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    field = getattr(any_value, kind)
    if kind == "array_value":
        return [value(item) for item in field.values]
    if kind == "kvlist_value":
        return attributes(field.values)
    if kind == "bytes_value":
        return base64.b64encode(field).decode()
    return field


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def spans_of(request):
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            scope = {"name": of_scope.scope.name, "version": of_scope.scope.version}
            for span in of_scope.spans:
                yield {
                    "resource": resource,
                    "scope": scope,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "trace_state": span.trace_state,
                    "flags": span.flags,
                    "name": span.name,
                    "kind": SPAN_KINDS[span.kind],
                    "start_unix_ns": span.start_time_unix_nano,
                    "end_unix_ns": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "status": {"code": span.status.code, "message": span.status.message},
                }


class Receiver:
    """What both transports share: the mode, and the way out."""

    def __init__(self):
        self.mode = "accept"
        self.changed = threading.Condition()
        self.output = threading.Lock()

    def set_mode(self, mode):
        with self.changed:
            self.mode = mode
            self.changed.notify_all()

    def decide(self):
        """The mode to answer by; waits as long as the mode is to hang."""
        with self.changed:
            self.changed.wait_for(lambda: self.mode != "hang")
            return self.mode

    def write(self, *lines):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with self.output:
            sys.stdout.write(text)
            sys.stdout.flush()

    def received(self, mode, transport, encoding, headers, request):
        if mode == "discard":
            return
        taken = mode in ("accept", "partial")
        spans = [{"span": span} for span in spans_of(request)] if taken else []
        export = {"transport": transport, "encoding": encoding, "headers": headers, "taken": taken, "spans": len(spans)}
        self.write({"export": export}, *spans)


def response(mode):
    answer = trace.ExportTraceServiceResponse()
    if mode == "partial":
        answer.partial_success.rejected_spans = 1
        answer.partial_success.error_message = "one span refused by the test"
    return answer


class Grpc(trace_grpc.TraceServiceServicer):
    REFUSALS = {"unavailable": grpc.StatusCode.UNAVAILABLE, "invalid": grpc.StatusCode.INVALID_ARGUMENT}

    def __init__(self, receiver):
        self.receiver = receiver

    def Export(self, request, context):
        mode = self.receiver.decide()
        headers = {key: text for key, text in context.invocation_metadata() if isinstance(text, str)}
        encoding = headers.get("grpc-encoding", "identity")
        self.receiver.received(mode, "grpc", encoding, headers, request)
        if mode in self.REFUSALS:
            context.abort(self.REFUSALS[mode], "refused by the test")
        return response(mode)


def http_class(receiver):
    class Http(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        refusals = {"unavailable": 503, "invalid": 400}

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/v1/traces":
                self.answer(404)
                return
            encoding = self.headers.get("Content-Encoding", "identity")
            if encoding == "gzip":
                body = gzip.decompress(body)
            request = trace.ExportTraceServiceRequest.FromString(body)
            mode = receiver.decide()
            headers = {key.lower(): text for key, text in self.headers.items()}
            receiver.received(mode, "http", encoding, headers, request)
            self.answer(self.refusals.get(mode, 200), response(mode).SerializeToString())

        def answer(self, status, body=b""):
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    return Http


def grpc_credentials(certificates):
    key, chain, trusted = ((certificates / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem"))
    return grpc.ssl_server_credentials([(key, chain)], trusted, require_client_auth=True)


def tls_context(certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def main():
    grpc_port, http_port = int(sys.argv[1]), int(sys.argv[2])
    receiver = Receiver()

    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    trace_grpc.add_TraceServiceServicer_to_server(Grpc(receiver), server)
    http = ThreadingHTTPServer(("127.0.0.1", http_port), http_class(receiver))
    if len(sys.argv) > 3:
        certificates = Path(sys.argv[3])
        server.add_secure_port(f"127.0.0.1:{grpc_port}", grpc_credentials(certificates))
        http.socket = tls_context(certificates).wrap_socket(http.socket, server_side=True)
    else:
        server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()

    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()

    receiver.write({"answer": None})
    for line in sys.stdin:
        receiver.set_mode(json.loads(line)["mode"])
        receiver.write({"answer": None})
    # Whoever still hangs is let go.
    receiver.set_mode("unavailable")
    server.stop(None)


main()
