# The headers of FORWARD_HEADERS, which identify a client, too. start.sh writes this file anew; here are none.
sub join_forward_headers {
}

sub hash_forward_headers {
}
