# Deploys an image to the component @COMPONENT@ and waits for the outcome.
# Works in every POSIX shell; needs curl 7.55 or later.
#
# Environment:
#   CHOREO_TOKEN  the component's deploy token, from your CI system's secrets
#   IMAGE         the image to deploy: @EXAMPLE@
#   DIGEST        optional: the digest of the image, sha256:...; recommended
#   COMMIT        optional: the commit the image was built from
#   RUN_URL       optional: the page of this CI run
#   CHOREO_KEY    optional: the same for every retry of one CI run
#
# Exit status:
#   0 ready   1 failed   2 wrong use   3 superseded by a newer deployment
#   4 held by a rollback   5 timed out   6 refused   7 no answer
set -eu
set +x # A trace would show the token.
LC_ALL=C
export LC_ALL

url='@BASE_URL@/v1/deployments'

stop() {
  printf 'choreo: %s\n' "$2" >&2
  exit "$1"
}

[ -n "${CHOREO_TOKEN:-}" ] || stop 2 'CHOREO_TOKEN is empty: set the secret, and allow this branch to read it'
case $CHOREO_TOKEN in
  *[!0-9A-Za-z_]*) stop 2 'CHOREO_TOKEN is not a deploy token: a token contains only letters, digits and _' ;;
  @PREFIX@*) shape=${#CHOREO_TOKEN} ;;
  *) shape=another ;;
esac
[ "$shape" = @LENGTH@ ] || stop 2 'CHOREO_TOKEN is not a deploy token: set the secret to the whole token, and to nothing else'
[ -n "${IMAGE:-}" ] || stop 2 'IMAGE is empty: set it to the image to deploy'

# Values are not escaped in the JSON, so none may contain a quote, a backslash or a line break.
body=''
add() {
  case $2 in
    '') ;;
    *"$CHOREO_TOKEN"*) stop 2 "$3 contains the deploy token" ;;
    *[!]0-9A-Za-z:/?#@!\$\&\(\)*+,\;=._~%[-]*) stop 2 "$3 contains a character that is not allowed" ;;
    *) body="$body${body:+,}\"$1\":\"$2\"" ;;
  esac
}
add image "$IMAGE" IMAGE
add digest "${DIGEST:-}" DIGEST
add commit "${COMMIT:-}" COMMIT
add run_url "${RUN_URL:-}" RUN_URL

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 143' INT TERM

# One key for all retries of this run: an image is never deployed twice. The key is unique, even if
# another run begins in the same second, in a container with the same process ids.
random=$(od -An -N16 -tx1 /dev/urandom 2>/dev/null | tr -d ' \n') || :
key=${CHOREO_KEY:-sh-$(date +%s)-$$-${answer##*/}-$random}
case $key in
  *"$CHOREO_TOKEN"*) stop 2 'CHOREO_KEY contains the deploy token' ;;
  *[!0-9A-Za-z._:-]*) stop 2 'CHOREO_KEY contains a character that is not allowed' ;;
esac

end=$(($(date +%s) + @PATIENCE@))
soon=$(($(date +%s) + 120))
status='' took=0 why='' id='' wait=25 pause=1

# send SECONDS ARGUMENTS...: sets status to that of the response, or to 'curl' and curl's exit status
# if there is no complete response. The token reaches curl through a pipe: command lines are visible
# to every process.
send() {
  limit=$1
  shift
  began=$(date +%s)
  status=$(printf 'Authorization: Bearer %s\n' "$CHOREO_TOKEN" |
    curl --silent --show-error --globoff --proto '=@SCHEME@' --header @- \
      --connect-timeout 10 --max-time "$limit" \
      --output "$answer" --write-out '%{http_code}' "$@") || status="curl $?"
  took=$(($(date +%s) - began))
}

# Fields of the response. The server sends "phase", "final" and "id" first, on one line.
phase() { sed -n 's/^{"phase":"\([a-z-]*\)","final":.*/\1/p' "$answer"; }
is_final() { grep -q '^{"phase":"[a-z-]*","final":true,' "$answer"; }
id() { sed -n 's/^{"phase":"[a-z-]*","final":[a-z]*,"id":"\([a-z0-9-]*\)".*/\1/p' "$answer"; }
findings() { sed -n 's/^{"phase".*,"findings":\(\[{"code":.*}\]\),"accepted_at":.*/\1/p' "$answer"; }
problem() { sed -n 's/^{"type":"urn:choreo:problem:\([a-z-]*\)".*/\1/p' "$answer"; }

# After an unexpected response: ends the step if a retry cannot help, and otherwise returns after a
# pause. Connections break, and proxies respond for a server that restarts.
try_again() {
  unexpected="unexpected response from $url: status $status"
  case $status in
    'curl 1' | 'curl 2' | 'curl 3' | 'curl 4' | 'curl 60' | 'curl 77' | 'curl 126' | 'curl 127')
      stop 7 "no answer from $url: curl exited with status ${status#curl }" ;;
    curl*) why="no answer from $url" ;;
    3??) stop 7 "no answer from $url: redirects are not followed (status $status)" ;;
    [45]??)
      case $(problem) in
        held) stop 4 'target is held since a rollback: release the hold to deploy automatically again' ;;
        body-too-slow | body-unreadable | busy | too-many-requests | unavailable) why='the server cannot process the request at the moment' ;;
        '') why=$unexpected ;;
        *)
          cat "$answer" >&2
          echo >&2 # The server sends no line break.
          stop 6 'the deployment was rejected'
          ;;
      esac
      ;;
    *) why=$unexpected ;;
  esac
  deadline=$end
  # Before the deployment is accepted, a 4xx of another server most likely means a wrong URL.
  case $status$id in
    4??) [ "$end" -le "$soon" ] || deadline=$soon ;;
    *) ;;
  esac
  [ "$(date +%s)" -lt "$deadline" ] || stop 7 "$why"
  printf 'choreo: %s: retrying\n' "$why" >&2
  # Proxies time out after 10 to 60 seconds: use a shorter wait then.
  case $status in
    408 | 504 | 524) took=$((took + 2)) ;;
    *) ;;
  esac
  if [ "$took" -ge 2 ]; then
    wait=$(((wait + 1) / 2))
    sleep 1
  else
    sleep "$pause"
    pause=$((pause < 8 ? pause * 2 : 8))
  fi
}

while :; do
  send 60 --header 'Content-Type: application/json' --header "Idempotency-Key: $key" \
    --data-raw "{$body}" "$url"
  [ "$status" != 202 ] || id=$(id)
  [ -z "$id" ] || break
  try_again
done
printf 'choreo: deployment %s of %s is accepted\n' "$id" "$IMAGE"
found=$(findings)
[ -z "$found" ] || printf 'choreo: findings: %s\n' "$found" >&2

wait=25 pause=1 why=''
while [ -n "$why" ] || ! is_final; do
  left=$((end - $(date +%s)))
  if [ "$left" -le 0 ]; then
    [ -z "$why" ] || stop 7 "$why"
    stop 5 'still deploying after @PATIENCE@ seconds; no longer waiting'
  fi
  [ -n "$why" ] || sleep 1
  [ "$wait" -le "$left" ] || wait=$left
  send $((wait + 20)) "$url/$id?wait=$wait"
  if [ "$status" = 200 ] && [ -n "$(phase)" ]; then
    pause=1 why=''
  else
    try_again
  fi
done

phase=$(phase)
cat "$answer"
echo # The server sends no line break.
case $phase in
  ready) printf 'choreo: %s is ready\n' "$IMAGE" ;;
  superseded) stop 3 'superseded by a newer deployment or a removal' ;;
  timed-out) stop 5 'the deployment was not ready by its deadline' ;;
  *) stop 1 "the deployment ended in phase $phase" ;;
esac
