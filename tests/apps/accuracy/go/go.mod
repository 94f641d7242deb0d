module autospan/accuracy

go 1.21
