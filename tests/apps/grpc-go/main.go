// The gRPC service of h2/grpc_app.py and the client of h2/grpc_client.py by grpc-go, as of Debian's package of it. Knows
// nothing of tracing.
//
//	grpc_app         serves; its client is for NEXT
//	grpc_app call    each line of its input is a call, as JSON; each line of its output is the status and the messages that came
//	grpc_app items   serves HTTP/1, or any method where HTTP2 is set; for each request it makes a call on the only connection to
//	                 NEXT, with a number that it draws, and answers with that number and what came of it
package main

import (
	"crypto/tls"
	"log"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
)

// plain makes messages of bytes, without Protocol Buffers. Both sides use it, since it has the name of what they use.
type plain struct{}

func (plain) Name() string { return "proto" }

func (plain) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }

func (plain) Unmarshal(bytes []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), bytes...)
	return nil
}

// dial returns a channel to a URL, or to what is between its slashes. https is TLS, with the roots in SSL_CERT_FILE.
func dial(address string) *grpc.ClientConn {
	option := grpc.WithInsecure()
	if strings.HasPrefix(address, "https:") {
		option = grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{}))
	}
	channel, err := grpc.Dial(address[strings.LastIndex(address, "/")+1:], option)
	if err != nil {
		log.Fatal(err)
	}
	return channel
}

// next is the channel to NEXT, if there is one.
func next() *grpc.ClientConn {
	if address := os.Getenv("NEXT"); address != "" {
		return dial(address)
	}
	return nil
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

// security is TLS with TLS_CERTIFICATE and TLS_KEY, if they are set.
func security() []grpc.ServerOption {
	certificate := os.Getenv("TLS_CERTIFICATE")
	if certificate == "" {
		return nil
	}
	transport, err := credentials.NewServerTLSFromFile(certificate, os.Getenv("TLS_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	return []grpc.ServerOption{grpc.Creds(transport)}
}

func main() {
	encoding.RegisterCodec(plain{})
	switch {
	case len(os.Args) == 1:
		serveEcho()
	case os.Args[1] == "call":
		call()
	case os.Args[1] == "items":
		serveItems()
	default:
		log.Fatalf("not known: %s", os.Args[1])
	}
}
