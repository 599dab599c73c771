"""The rules of the linter, one module for each kind: fields, references and the tree."""
