module http_app

go 1.27
