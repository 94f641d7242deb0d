// Go's net/http: serves HTTP/1 and HTTP/2; for each request it makes one on the only HTTP/2 connection to NEXT, with a number
// that it draws, and answers with that number and what came of it. Knows nothing of tracing.
package main

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"
)

var (
	next   = os.Getenv("NEXT")
	client = &http.Client{Timeout: 20 * time.Second, Transport: transport()}
)

// transport speaks HTTP/2 alone, with TLS or without.
func transport() *http.Transport {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

func work(w http.ResponseWriter, _ *http.Request) {
	time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
	if next == "" {
		return
	}
	number := rand.Uint64()
	answer, err := client.Get(fmt.Sprint(next, "/item/", number))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	fmt.Fprint(w, number, " ")
	io.Copy(w, answer.Body)
}

func main() {
	server := http.Server{
		Addr:      net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")),
		Handler:   http.HandlerFunc(work),
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if certificate := os.Getenv("TLS_CERTIFICATE"); certificate != "" {
		log.Fatal(server.ListenAndServeTLS(certificate, os.Getenv("TLS_KEY")))
	}
	log.Fatal(server.ListenAndServe())
}
