#!/bin/sh
# Upload a file to $SERVICE, and resume after interruptions:  SERVICE=http://127.0.0.1:8970 ./upload-rufh.sh FILE
# With Keystone, $TOKEN is your token. Needs curl 7.84 or newer; prints the upload's URL.
set -euf
file=$1

ask() {
    curl --silent --show-error --header "X-Auth-Token: ${TOKEN:-}" --header 'Upload-Draft-Interop-Version: 8' "$@"
}

# Create the upload without data, so that its URL is known before anything is sent.
url=$(ask --fail --request POST --header 'Upload-Complete: ?0' --header "Upload-Length: $(($(wc -c <"$file")))" \
    --header "Content-Disposition: inline; filename=\"$(basename "$file")\"" \
    --output /dev/null --write-out '%header{location}' "$SERVICE/v1/rufh")

while :; do
    # Get the status, completeness and offset of the upload.
    set -- $(ask --head --output /dev/null \
        --write-out '%{http_code} %header{upload-complete} %header{upload-offset}' "$url" || :)
    case "$1 ${2-}" in
    '204 ?1') break ;;
    '204 ?0') # Send the rest of the file, from that offset on.
        set -- $(tail -c "+$(($3 + 1))" "$file" | ask --request PATCH --header 'Upload-Complete: ?1' \
            --header "Upload-Offset: $3" --header 'Content-Type: application/partial-upload' \
            --upload-file - --output /dev/null --write-out '%{http_code}' "$url" || :) ;;
    esac
    case $1 in
    2?? | 000 | 100 | 408 | 409 | 5??) sleep "${PAUSE:-1}" ;; # done, interrupted, superseded, or temporarily refused
    *) echo "$url: refused with $1" >&2 && exit 1 ;;
    esac
done
echo "$url"
