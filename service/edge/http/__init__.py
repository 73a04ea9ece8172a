"""HTTP below the routes: accepting, bodies, queries, problem documents."""
