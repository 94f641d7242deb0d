// net/http, server and pooled client. GET /r/<n>?mode=<mode>&calls=<count>: each call downstream has a code of its own,
// drawn here; `code n` goes to the file that the environment names, and nothing else links the two. Where HEARTBEAT is set
// there are also calls that no request asked for.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	mathrand "math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Fewer than the calls of 64 requests: then they wait for each other's connections.
	connectionsMax = 32
	sleepMax       = 20 * time.Millisecond
	timeout        = 30 * time.Second
)

var (
	downstream = os.Getenv("DOWNSTREAM")
	truth      *os.File
	client     = http.Client{Timeout: timeout, Transport: &http.Transport{
		MaxConnsPerHost:     connectionsMax,
		MaxIdleConnsPerHost: connectionsMax,
	}}
)

// draw returns the URL of a new call for request n.
func draw(n string) (string, error) {
	bytes := make([]byte, 8)
	if _, err := rand.Read(bytes); err != nil {
		return "", err
	}
	code := hex.EncodeToString(bytes)
	_, err := fmt.Fprintf(truth, "%s %s\n", code, n)
	return downstream + "/d/" + code, err
}

// work is what a request asks for.
type work struct {
	n, mode, id string
}

func (w work) call() error {
	if w.mode == "sleep" || w.mode == "after" {
		time.Sleep(time.Duration(mathrand.Int63n(int64(sleepMax))))
	}
	url, err := draw(w.n)
	if err != nil {
		return err
	}
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	if w.id != "" {
		request.Header.Set("X-Request-Id", w.id)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func (w work) concurrent(calls int) error {
	errors := make([]error, calls)
	var group sync.WaitGroup
	for i := range errors {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			errors[i] = w.call()
		}()
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

func run(r *http.Request) error {
	query := r.URL.Query()
	w := work{strings.TrimPrefix(r.URL.Path, "/r/"), query.Get("mode"), r.Header.Get("X-Request-Id")}
	calls, err := strconv.Atoi(query.Get("calls"))
	if err != nil {
		return err
	}
	if w.mode == "after" {
		go w.concurrent(calls)
		return nil
	}
	if w.mode == "concurrent" {
		return w.concurrent(calls)
	}
	for ; calls > 0; calls-- {
		if err := w.call(); err != nil {
			return err
		}
	}
	return nil
}

func beat() {
	for {
		if err := (work{n: "-", mode: "sleep"}).call(); err != nil {
			log.Fatal(err)
		}
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	if err := run(r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, "ok")
}

func main() {
	var err error
	truth, err = os.OpenFile(os.Getenv("TRUTH"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	if os.Getenv("HEARTBEAT") != "" {
		go beat()
	}
	http.HandleFunc("/r/", serve)
	log.Fatal(http.ListenAndServe(net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")), nil))
}
