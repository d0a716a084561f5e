#!/bin/sh
# Standard input is the request's body; what is written to standard output is the answer.
wc | {
  read -r lines words bytes
  echo "$lines lines, $words words, $bytes bytes"
}
