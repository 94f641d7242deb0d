// What everybody calls: answers GET /d/<code> after 0 to 20 ms, as the code's first byte says, so that answers overtake each
// other. With CERTIFICATE and KEY by TLS.
package main

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const delayMax = 20 * time.Millisecond

func serve(w http.ResponseWriter, r *http.Request) {
	code, err := hex.DecodeString(strings.TrimPrefix(r.URL.Path, "/d/"))
	if err != nil || len(code) == 0 {
		http.Error(w, "not a code", http.StatusBadRequest)
		return
	}
	time.Sleep(delayMax * time.Duration(code[0]) / 255)
	io.WriteString(w, "done")
}

// listen listens on both addresses that localhost may mean; a machine may lack one.
func listen(port string) ([]net.Listener, error) {
	var listeners []net.Listener
	var failures []error
	for _, host := range []string{"127.0.0.1", "::1"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			failures = append(failures, err)
			continue
		}
		listeners = append(listeners, listener)
	}
	if len(listeners) == 0 {
		return nil, errors.Join(failures...)
	}
	return listeners, nil
}

func main() {
	listeners, err := listen(os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/d/", serve)
	certificate, key := os.Getenv("CERTIFICATE"), os.Getenv("KEY")
	ended := make(chan error)
	for _, listener := range listeners {
		listener := listener
		go func() {
			if certificate != "" {
				// HTTP/1.1 for all: by an empty map, no other protocol is offered.
				server := http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
				ended <- server.ServeTLS(listener, certificate, key)
			} else {
				ended <- http.Serve(listener, nil)
			}
		}()
	}
	log.Fatal(<-ended)
}
