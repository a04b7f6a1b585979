module towpath.example/pause

go 1.24
