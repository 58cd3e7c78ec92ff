//! Stage 5, outside: HTTP, authentication, limits and wire types.
