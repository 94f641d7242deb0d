package main

import (
	"context"
	"io"
	"log"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// echo is the service autospan.test.Echo; its methods are described in h2/grpc_app.py.
type echo struct{ next *grpc.ClientConn }

func (echo) unary(_ context.Context, request []byte) ([]byte, error) { return request, nil }

func (echo) fail(_ context.Context, request []byte) ([]byte, error) { return nil, failure(request) }

func (echo) slow(_ context.Context, request []byte) ([]byte, error) {
	n, err := number(request)
	time.Sleep(time.Duration(n) * time.Millisecond)
	return request, err
}

func (e echo) chain(ctx context.Context, request []byte) ([]byte, error) {
	if e.next == nil {
		return request, nil
	}
	var answer []byte
	err := e.next.Invoke(ctx, "/autospan.test.Echo/Chain", &request, &answer)
	return answer, err
}

func (echo) serverStream(stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	n, err := number(request)
	for i := 0; i < n && err == nil; i++ {
		message := []byte(strconv.Itoa(i))
		err = stream.SendMsg(&message)
	}
	return err
}

func (echo) clientStream(stream grpc.ServerStream) error {
	count := 0
	for {
		var request []byte
		err := stream.RecvMsg(&request)
		if err == io.EOF {
			answer := []byte(strconv.Itoa(count))
			return stream.SendMsg(&answer)
		}
		if err != nil {
			return err
		}
		count++
	}
}

func (echo) bidi(stream grpc.ServerStream) error {
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = stream.SendMsg(&message)
		}
		if err != nil {
			return err
		}
	}
}

func (echo) failLate(stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if err := stream.SendMsg(&request); err != nil {
		return err
	}
	return failure(request)
}

// number reads a message; a bad one is the caller's mistake.
func number(message []byte) (int, error) {
	n, err := strconv.Atoi(string(message))
	if err != nil {
		return 0, status.Error(codes.InvalidArgument, err.Error())
	}
	return n, nil
}

func failure(request []byte) error {
	code, err := number(request)
	if err != nil {
		return err
	}
	return status.Error(codes.Code(code), "as asked")
}

// method describes one with a single request and a single answer, as generated code does.
func method(name string, answer func(echo, context.Context, []byte) ([]byte, error)) grpc.MethodDesc {
	handler := func(server interface{}, ctx context.Context, decode func(interface{}) error,
		_ grpc.UnaryServerInterceptor) (interface{}, error) {
		var request []byte
		if err := decode(&request); err != nil {
			return nil, err
		}
		message, err := answer(server.(echo), ctx, request)
		return &message, err
	}
	return grpc.MethodDesc{MethodName: name, Handler: handler}
}

func stream(name string, client, server bool, serve func(echo, grpc.ServerStream) error) grpc.StreamDesc {
	handler := func(server interface{}, stream grpc.ServerStream) error { return serve(server.(echo), stream) }
	return grpc.StreamDesc{StreamName: name, Handler: handler, ClientStreams: client, ServerStreams: server}
}

func serveEcho() {
	server := grpc.NewServer(security()...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "autospan.test.Echo",
		HandlerType: (*interface{})(nil),
		Methods: []grpc.MethodDesc{
			method("Unary", echo.unary),
			method("Fail", echo.fail),
			method("Slow", echo.slow),
			method("Chain", echo.chain),
		},
		Streams: []grpc.StreamDesc{
			stream("ServerStream", false, true, echo.serverStream),
			stream("ClientStream", true, false, echo.clientStream),
			stream("Bidi", true, true, echo.bidi),
			stream("FailLate", false, true, echo.failLate),
		},
	}, echo{next()})
	log.Fatal(server.Serve(listen()))
}
