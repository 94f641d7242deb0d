module streams_app

go 1.24
