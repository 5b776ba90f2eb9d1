# no-cache: fetched anew; what that brings takes the place of all that was stored under the same key. A fetch that
# fails leaves it.
import blob;

# Looked up once before, since only an older answer needs a ban; without waiting for another fetch, whose answer may
# be older.
sub refresh {
  set req.http.X-Refresh = "true";
  if (req.http.X-Older) {
    set req.hash_always_miss = true;
  } else {
    set req.hash_ignore_busy = true;
    set req.hash_ignore_vary = true;
  }
}

sub refresh_hit {
  if (req.http.X-Refresh && !req.http.X-Older) {
    set req.http.X-Older = "true";
    return (restart);
  }
}

# For a second after a failure, an older answer is out of sight.
sub refresh_miss {
  if (req.is_hitmiss) {
    set req.http.X-Older = "true";
  }
}

# By these an answer is told from the others under its key.
sub mark_fetch {
  set beresp.http.X-Stored-Key = blob.encode(HEX, LOWER, bereq.hash);
  set beresp.http.X-Stored-Fetch = bereq.xid;
}

# Now that all of it has arrived.
sub end_older {
  if (req.http.X-Older && resp.status == 200 && !obj.uncacheable) {
    if (!std.ban("obj.http.X-Stored-Key == " + resp.http.X-Stored-Key +
        " && obj.http.X-Stored-Fetch != " + resp.http.X-Stored-Fetch)) {
      std.log("ban of the older answer failed: " + std.ban_error());
    }
  }
}
