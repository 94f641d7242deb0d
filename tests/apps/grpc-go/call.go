package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// wish is a call that is to be made.
type wish struct {
	Address  string            `json:"address"`
	Kind     string            `json:"kind"`
	Method   string            `json:"method"`
	Messages []string          `json:"messages"`
	Metadata map[string]string `json:"metadata"`
	Timeout  float64           `json:"timeout"`
	Gzip     bool              `json:"gzip"`
	Cancel   bool              `json:"cancel"`
	TLS      bool              `json:"tls"`
}

type answer struct {
	Status   string   `json:"status"`
	Messages []string `json:"messages"`
}

// names are those of the statuses, as the protocol has them; grpc-go writes them otherwise.
var names = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
	"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

func (w wish) options() []grpc.CallOption {
	if w.Gzip {
		return []grpc.CallOption{grpc.UseCompressor("gzip")}
	}
	return nil
}

// run makes the call, and hands each message that comes to received.
func (w wish) run(channel *grpc.ClientConn, received func([]byte)) error {
	if w.Timeout == 0 {
		w.Timeout = 10
	}
	ctx := metadata.NewOutgoingContext(context.Background(), metadata.New(w.Metadata))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.Timeout*float64(time.Second)))
	defer cancel()
	path := "/autospan.test.Echo/" + w.Method
	if w.Kind == "unary" {
		request, message := []byte(w.Messages[0]), []byte(nil)
		err := channel.Invoke(ctx, path, &request, &message, w.options()...)
		if err == nil {
			received(message)
		}
		return err
	}
	description := &grpc.StreamDesc{ClientStreams: w.Kind != "server", ServerStreams: w.Kind != "client"}
	stream, err := channel.NewStream(ctx, description, path, w.options()...)
	if err != nil {
		return err
	}
	for _, message := range w.Messages {
		request := []byte(message)
		if err := stream.SendMsg(&request); err != nil && err != io.EOF {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		received(message)
		if w.Cancel {
			cancel()
		}
		// Its status comes with its only message.
		if w.Kind == "client" {
			return nil
		}
	}
}

func call() {
	channels := map[string]*grpc.ClientConn{}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var wish wish
		if err := json.Unmarshal(lines.Bytes(), &wish); err != nil {
			log.Fatal(err)
		}
		if wish.TLS {
			wish.Address = "https://" + wish.Address
		}
		if channels[wish.Address] == nil {
			channels[wish.Address] = dial(wish.Address)
		}
		answer := answer{Messages: []string{}}
		err := wish.run(channels[wish.Address], func(message []byte) {
			answer.Messages = append(answer.Messages, string(message))
		})
		answer.Status = names[status.Code(err)]
		line, err := json.Marshal(answer)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
}
