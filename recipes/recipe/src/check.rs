//! What must hold between recipes: names resolve, nothing needs itself, tags name what is there.
