// Go's net/http, server and pooled client. Knows nothing of tracing.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	next  = os.Getenv("NEXT")
	block = make([]byte, 65536)
)

// number reads a path or query value; a bad one is the caller's mistake.
func number(w http.ResponseWriter, text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return n, err == nil
}

// argument is what follows the page's name in the path.
func argument(r *http.Request) string {
	return r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
}

func hello(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "hello")
}

// chain answers with the body of the next service, or, at the end of the chain, with the headers that arrived there.
func chain(w http.ResponseWriter, r *http.Request) {
	if next == "" {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(r.Header)
		return
	}
	answer, err := http.Get(next)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

func size(w http.ResponseWriter, r *http.Request) {
	count, ok := number(w, argument(r))
	if !ok {
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(count, 10))
	for count > 0 {
		part := block
		if count < int64(len(part)) {
			part = part[:count]
		}
		n, err := w.Write(part)
		if err != nil {
			return
		}
		count -= int64(n)
	}
}

func upload(w http.ResponseWriter, r *http.Request) {
	received, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, received)
}

func status(w http.ResponseWriter, r *http.Request) {
	if code, ok := number(w, argument(r)); ok {
		w.WriteHeader(int(code))
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	if ms, ok := number(w, r.URL.Query().Get("ms")); ok {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		io.WriteString(w, "slow")
	}
}

func main() {
	// From Go 1.22 on the patterns could say more; the oldest toolchain of the tests is 1.21.
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", hello)
	mux.HandleFunc("/chain", chain)
	mux.HandleFunc("/size/", size)
	mux.HandleFunc("/upload", upload)
	mux.HandleFunc("/status/", status)
	mux.HandleFunc("/slow", slow)
	// HTTP/1.1 alone, to either side: with an empty table nothing else is offered in the handshake.
	http.DefaultTransport.(*http.Transport).ForceAttemptHTTP2 = false
	http.DefaultTransport.(*http.Transport).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	server := http.Server{
		Addr:         net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")),
		Handler:      mux,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if certificate := os.Getenv("TLS_CERTIFICATE"); certificate != "" {
		log.Fatal(server.ListenAndServeTLS(certificate, os.Getenv("TLS_KEY")))
	}
	log.Fatal(server.ListenAndServe())
}
