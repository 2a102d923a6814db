#!/bin/sh
# Buckets and the pipeline's two credentials on the SeaweedFS of compose.yaml; may run again, and changes nothing then.
#
# PHOTOS_KEY/PHOTOS_SECRET may do what s3-policy-originals.json says, TOKENS_KEY/TOKENS_SECRET what s3-policy-archive.json
# says. POLICIES is the folder of both, MASTER and FILER are addresses as `weed shell` takes them.
set -eu
: "${PHOTOS_KEY:?}" "${PHOTOS_SECRET:?}" "${TOKENS_KEY:?}" "${TOKENS_SECRET:?}" "${POLICIES:?}"

in_shell() {
    weed shell ${MASTER:+-master="$MASTER"} ${FILER:+-filer="$FILER"}
}

in_shell <<END || : # it complains of what is there already, and goes on
s3.bucket.create -name inspection-photos -withLock
s3.bucket.create -name summary-tokens
s3.policy -put -name=fwd2bot-originals -file=$POLICIES/s3-policy-originals.json
s3.policy -put -name=fwd2bot-archive -file=$POLICIES/s3-policy-archive.json
s3.user.create -name fwd2bot-originals -access_key $PHOTOS_KEY -secret_key $PHOTOS_SECRET
s3.user.create -name fwd2bot-archive -access_key $TOKENS_KEY -secret_key $TOKENS_SECRET
s3.policy.attach -policy fwd2bot-originals -user fwd2bot-originals
s3.policy.attach -policy fwd2bot-archive -user fwd2bot-archive
exit
END

# So what there is now is asked for.
for user in fwd2bot-originals fwd2bot-archive; do
    printf 's3.user.show -name %s\nexit\n' "$user" | in_shell | grep -q "\"policies\":\[\"$user\"\]" || {
        echo "user $user has not got its policy" >&2
        exit 1
    }
done
