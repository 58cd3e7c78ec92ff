//! Stage 5, inside: runs the stages over traits and writes down what happened.
