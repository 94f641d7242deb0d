package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// items serves /item/NUMBER. Its channel is made when it is needed first: grpc-go connects at once.
type items struct{ next func() *grpc.ClientConn }

func (i items) work(ctx context.Context) (string, error) {
	time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
	next := i.next()
	if next == nil {
		return "", nil
	}
	number := rand.Uint64()
	request, answer := []byte{}, []byte{}
	err := next.Invoke(ctx, fmt.Sprint("/item/", number), &request, &answer)
	return fmt.Sprint(number, " ", string(answer)), err
}

func (i items) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := i.work(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, answer)
}

func (i items) stream(_ interface{}, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	answer, err := i.work(stream.Context())
	if err != nil {
		return err
	}
	message := []byte(answer)
	return stream.SendMsg(&message)
}

func serveItems() {
	items := items{sync.OnceValue(next)}
	if os.Getenv("HTTP2") == "" {
		log.Fatal(http.Serve(listen(), items))
	}
	server := grpc.NewServer(append(security(), grpc.UnknownServiceHandler(items.stream))...)
	log.Fatal(server.Serve(listen()))
}
