# The far side of `frontier deploy HOST:DIR`: POSIX sh, coreutils, nothing of ours. Read by remote.py.
umask 022
HOST=$(uname -n)
BOOT=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" .lock/owner.json 2>/dev/null; }
alive() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1,20; }
durable() { sync "$@" 2>/dev/null || sync; }
same() { [ -f "$1" ] && [ "$(sha256sum < "$1" | cut -d' ' -f1)" = "$2" ]; }

# True when the lock's owner surely lives no more; of another machine nothing is sure.
is_dead() {
    [ "$(field host)" = "$HOST" ] || return 1
    [ "$(field boot)" = "$BOOT" ] || return 0
    now=$(alive "$(field pid)")
    [ -n "$now" ] && [ "${now#* }" = "$(field started)" ] && [ "${now%% *}" != Z ] && return 1
    return 0
}

take_lock() {
    exec 9< . && { flock 9 2>/dev/null || true; }
    if [ -f .lock/owner.json ] && ! is_dead; then
        if [ "$(field host)" = "$HOST" ] || [ -z "$1" ]; then
            exec 9<&-
            echo "another deploy holds the lock (pid $(field pid) on $(field host))"
            return 75
        fi
    fi
    rm -rf .lock ".lock.$$.tmp" && mkdir ".lock.$$.tmp" || return 1
    started=$(alive $$)
    printf '{"pid":%d,"host":"%s","started":"%s","boot":"%s"}' $$ "$HOST" "${started#* }" "$BOOT" \
        > ".lock.$$.tmp/owner.json"
    mv -T ".lock.$$.tmp" .lock
    status=$?
    exec 9<&-
    [ $status = 0 ] && trap 'rm -rf .lock' EXIT
    return $status
}

# What killed deploys left behind; partial blobs stay, they are taken up.
sweep() { rm -rf .current.*.tmp releases/.*.tmp blobs/sha256/.*.tmp 2>/dev/null; true; }

# stdin: lines "digest". Says which are not there, or not those bytes.
absent() { while read -r digest; do same "blobs/sha256/$digest" "$digest" || echo "$digest"; done; }

# stdin: lines "digest". Moves arrived blobs into place, each after its bytes were compared.
place() {
    bad=0
    while read -r digest; do
        if same ".incoming/$digest" "$digest"; then
            chmod 444 ".incoming/$digest" && durable ".incoming/$digest" &&
                mv -f ".incoming/$digest" "blobs/sha256/$digest" || return 1
        else
            rm -f ".incoming/$digest"
            echo "$digest"
            bad=1
        fi
    done
    durable blobs/sha256
    return $((bad * 74))
}

# stdin: lines "digest name". Makes releases/$1 of hard links; the manifest is in .incoming/$1.json and goes in last.
release() {
    to=releases/$1
    [ -d "$to" ] || { to=releases/.$1.$$.tmp; rm -rf "$to"; mkdir "$to" || return 1; }
    while read -r digest name; do
        same "$to/$name" "$digest" && continue
        case $name in */*) mkdir -p "$to/${name%/*}" ;; esac
        rm -f "$to/.link.tmp"
        ln "blobs/sha256/$digest" "$to/.link.tmp" && mv -f "$to/.link.tmp" "$to/$name" || return 1
    done
    chmod 444 ".incoming/$1.json" && durable ".incoming/$1.json" || return 1
    if [ -f "$to/manifest.json" ]; then rm -f ".incoming/$1.json"; else mv ".incoming/$1.json" "$to/manifest.json"; fi
    durable "$to"
    [ "$to" = "releases/$1" ] || mv -T "$to" "releases/$1" || return 1
    durable releases
}

owner() { [ -f .lock/owner.json ] && ! is_dead && echo "pid $(field pid) on $(field host)"; }
manifest() { [ -f "$1" ] && { echo "$1"; cat "$1"; echo; echo ---; }; }
blobs() { (cd blobs/sha256 && stat -c '%s %n' -- * 2>/dev/null); true; }
point() { ln -s "releases/$1" ".current.$$.tmp" && mv -T ".current.$$.tmp" current && durable .; }
audit() { printf '%s\n' "$1" >> audit.jsonl && durable audit.jsonl; }
current() { link=$(readlink current 2>/dev/null) && echo "${link#releases/}"; }

# stdin: lines "digest name". Says what in releases/$1 is not as listed.
verify() {
    while read -r digest name; do
        if [ ! -f "releases/$1/$name" ]; then echo "$name: missing"
        elif ! same "releases/$1/$name" "$digest"; then echo "$name: other content"; fi
    done
}
