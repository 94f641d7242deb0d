// Go's net/http on HTTP/2, server and client. Knows nothing of tracing.
//
//	http_app         serves; its client is for NEXT
//	http_app call    each line of its input is what to ask, as JSON: one request, or several at once;
//	                 each line of its output is the answer to one line
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	next   = os.Getenv("NEXT")
	block  = make([]byte, 65536)
	client = &http.Client{Timeout: 10 * time.Second, Transport: transport()}
)

// transport speaks HTTP/2 alone, with TLS or without.
func transport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

// chain answers with the body of the next service, or, at the end of the chain, with the headers that arrived there.
func chain(w http.ResponseWriter, r *http.Request) {
	if next == "" {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(r.Header)
		return
	}
	answer, err := client.Get(next)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

// number reads a path or query value; a bad one is the caller's mistake.
func number(w http.ResponseWriter, text string) (int, bool) {
	n, err := strconv.Atoi(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return n, err == nil
}

func size(w http.ResponseWriter, r *http.Request) {
	count, ok := number(w, r.PathValue("count"))
	if !ok {
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(count))
	for ; count > 0; count -= len(block) {
		w.Write(block[:min(count, len(block))])
	}
}

func upload(w http.ResponseWriter, r *http.Request) {
	received, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, received)
}

func status(w http.ResponseWriter, r *http.Request) {
	if code, ok := number(w, r.PathValue("code")); ok {
		w.WriteHeader(code)
	}
}

func slow(w http.ResponseWriter, r *http.Request) {
	if ms, ok := number(w, r.URL.Query().Get("ms")); ok {
		time.Sleep(time.Duration(ms) * time.Millisecond)
		io.WriteString(w, "slow")
	}
}

func serve() error {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	mux.HandleFunc("/chain", chain)
	mux.HandleFunc("/size/{count}", size)
	mux.HandleFunc("/upload", upload)
	mux.HandleFunc("/status/{code}", status)
	mux.HandleFunc("/slow", slow)
	// Ends the stream with RST_STREAM.
	mux.HandleFunc("/reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := http.Server{
		Addr:      net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")),
		Handler:   mux,
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if certificate := os.Getenv("TLS_CERTIFICATE"); certificate != "" {
		return server.ListenAndServeTLS(certificate, os.Getenv("TLS_KEY"))
	}
	return server.ListenAndServe()
}

type wish struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Body    int               `json:"body"`
	Headers map[string]string `json:"headers"`
}

type answer struct {
	Status int   `json:"status"`
	Bytes  int64 `json:"bytes"`
	Port   int   `json:"port"`
}

func ask(wish wish) (answer answer) {
	var body io.Reader
	if wish.Body > 0 {
		body = bytes.NewReader(make([]byte, wish.Body))
	}
	request, err := http.NewRequest(wish.Method, wish.URL, body)
	if err != nil {
		log.Fatal(err)
	}
	for name, value := range wish.Headers {
		request.Header.Set(name, value)
	}
	trace := httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		answer.Port = got.Conn.LocalAddr().(*net.TCPAddr).Port
	}}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), &trace)))
	if err != nil {
		return answer
	}
	defer response.Body.Close()
	answer.Status = response.StatusCode
	answer.Bytes, _ = io.Copy(io.Discard, response.Body)
	return answer
}

func together(wishes []wish) []answer {
	answers := make([]answer, len(wishes))
	var group sync.WaitGroup
	for i := range wishes {
		group.Go(func() { answers[i] = ask(wishes[i]) })
	}
	group.Wait()
	return answers
}

func call() error {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said any
		if line := lines.Bytes(); strings.HasPrefix(string(line), "[") {
			var wishes []wish
			if err := json.Unmarshal(line, &wishes); err != nil {
				return err
			}
			said = together(wishes)
		} else {
			var one wish
			if err := json.Unmarshal(line, &one); err != nil {
				return err
			}
			said = ask(one)
		}
		if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) > 1 {
		if err := call(); err != nil {
			log.Fatal(err)
		}
		return
	}
	log.Fatal(serve())
}
