# Deploys an image to the component @COMPONENT@ and waits for the outcome.
# Works in every POSIX shell; needs curl 7.66 or later.
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

[ -n "${CHOREO_TOKEN:-}" ] || stop 2 'CHOREO_TOKEN is empty: is the secret set, and may this branch read it?'
case $CHOREO_TOKEN in
  *[!0-9A-Za-z_]*) stop 2 'CHOREO_TOKEN is no deploy token: it has letters, digits and _ only' ;;
esac
[ -n "${IMAGE:-}" ] || stop 2 'IMAGE is empty: say which image to deploy'

# Values go into JSON as they are, so none may hold a quote, a backslash or a line break.
body=''
add() {
  case $2 in
    '') ;;
    *[!]0-9A-Za-z:/?#@!\$\&\(\)*+,\;=._~%[-]*) stop 2 "$3 holds a character that does not belong there" ;;
    *) body="$body${body:+,}\"$1\":\"$2\"" ;;
  esac
}
add image "$IMAGE" IMAGE
add digest "${DIGEST:-}" DIGEST
add commit "${COMMIT:-}" COMMIT
add run_url "${RUN_URL:-}" RUN_URL

# One key for all retries of this run: an image is never deployed twice.
key=${CHOREO_KEY:-sh-$(date +%s)-$$-$(printf '%s' "$IMAGE" | cksum | tr ' ' -)}
case $key in
  *[!0-9A-Za-z._:-]*) stop 2 'CHOREO_KEY holds a character that does not belong there' ;;
esac

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 143' INT TERM

# The token reaches curl through a pipe: command lines are visible to every process.
request() {
  printf 'Authorization: Bearer %s\n' "$CHOREO_TOKEN" |
    curl --silent --show-error --globoff --proto '=@SCHEME@' --header @- \
      --connect-timeout 10 --max-time 60 --retry 5 --retry-connrefused --retry-max-time 120 \
      --output "$answer" --write-out '%{http_code}' "$@" || printf ' no answer'
}

# What the answer says. The server sends "phase", "final" and "id" first, and one line.
phase() { sed -n 's/^{"phase":"\([a-z-]*\)","final":.*/\1/p' "$answer"; }
is_final() { grep -q '^{"phase":"[a-z-]*","final":true,' "$answer"; }
id() { sed -n 's/^{"phase":"[a-z-]*","final":[a-z]*,"id":"\([a-z0-9-]*\)".*/\1/p' "$answer"; }
problem() { sed -n 's/^{"type":"urn:choreo:problem:\([a-z-]*\)".*/\1/p' "$answer"; }

refuse() {
  case $1 in
    [45]??)
      grep '^{"type":"urn:choreo:problem:' "$answer" >&2 || :
      case $(problem) in
        held) stop 4 'target is held since a rollback: release the hold to deploy automatically again' ;;
        body-too-slow | busy | too-many-requests | unavailable) stop 7 'the server cannot answer now' ;;
        '') stop 7 "the server answers $1, but not as choreo does" ;;
        *) stop 6 'the deployment is refused' ;;
      esac
      ;;
    *) stop 7 "no answer from $url (${1:-000})" ;;
  esac
}

status=$(request --header 'Content-Type: application/json' --header "Idempotency-Key: $key" \
  --data-raw "{$body}" "$url")
[ "$status" = 202 ] || refuse "$status"
id=$(id)
[ -n "$id" ] || stop 7 'the server does not answer as choreo does'
printf 'choreo: deployment %s of %s is accepted\n' "$id" "$IMAGE"

end=$(($(date +%s) + @PATIENCE@))
while ! is_final; do
  [ "$(date +%s)" -lt "$end" ] || stop 5 'the deployment goes on, but not within @PATIENCE@ seconds'
  sleep 1
  status=$(request "$url/$id?wait=25")
  [ "$status" = 200 ] || refuse "$status"
done

phase=$(phase)
cat "$answer"
echo # The server sends no line break.
case $phase in
  ready) printf 'choreo: %s is ready\n' "$IMAGE" ;;
  superseded) stop 3 'a newer deployment took its place' ;;
  timed-out) stop 5 'the deployment was not ready by its deadline' ;;
  *) stop 1 "the deployment ended: $phase" ;;
esac
