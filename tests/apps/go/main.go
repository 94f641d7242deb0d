// Go's net/http, server and pooled client. Knows nothing of tracing.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
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
	count, ok := number(w, r.PathValue("count"))
	if !ok {
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(count, 10))
	for count > 0 {
		n, err := w.Write(block[:min(count, int64(len(block)))])
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
	if code, ok := number(w, r.PathValue("code")); ok {
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", hello)
	mux.HandleFunc("GET /chain", chain)
	mux.HandleFunc("GET /size/{count}", size)
	mux.HandleFunc("POST /upload", upload)
	mux.HandleFunc("GET /status/{code}", status)
	mux.HandleFunc("GET /slow", slow)
	log.Fatal(http.ListenAndServe(net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")), mux))
}
