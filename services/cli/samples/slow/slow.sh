#!/bin/sh
# Standard error goes to the function's log: watch it with `busker logs slow --follow`.
body=$(cat)
query=$(printf %s "$Http_Query" | tr '&' '\n' | sed -n 's/^seconds=//p' | head -n 1)
seconds=${body:-${query:-1}}
case $seconds in
'' | . | *[!0-9.]* | *.*.*)
  echo "seconds must be a number; got $seconds"
  exit 1
  ;;
esac
whole=${seconds%%.*}
echo "sleeping for $seconds s" >&2
second=0
while [ "$second" -lt "${whole:-0}" ]; do
  sleep 1
  second=$((second + 1))
  echo "$second of $seconds s" >&2
done
[ "$seconds" = "$whole" ] || sleep "0.${seconds#*.}"
echo "slept for $seconds s"
