# PURGE: one URL with all its bodies, `X-Purge-All: true`, or the whole tags of `Surrogate-Key`.
#
# Purging is banning, and bans name obj.* only. A blank ends an argument of a ban and cannot be quoted, so whatever
# goes into one is checked character by character first; otherwise `a && obj.status == 200` would be a ban of
# everything.

# Behind a sidecar every peer is 127.0.0.6: there the mesh's AuthorizationPolicy is the guard, and this list lets it
# through.
acl purgers {
  "127.0.0.0"/8;
  "::1";
}

sub serve_purge {
  if (client.ip !~ purgers) {
    return (synth(403, "PURGE is not allowed from this address."));
  }
  if (req.http.X-Purge-All) {
    call purge_all;
  }
  if (req.http.Surrogate-Key) {
    call purge_tags;
  }
  call purge_url;
}

sub purge_all {
  if (req.http.X-Purge-All !~ "(?i)^true$") {
    return (synth(400, "X-Purge-All must be true."));
  }
  if (!std.ban("obj.status != 0")) {
    return (synth(500, "The ban was refused."));
  }
  set req.http.X-Purged = {""all""};
  return (synth(200));
}

# The backend has the same rule; a test holds the two equal. Possessive (`++`): a group that could give back what it
# took would remember every tag, and has room for some five hundred.
sub purge_tags {
  std.collect(req.http.Surrogate-Key, " ");
  if (req.http.Surrogate-Key !~ "^[ ,]*(?:(?=[^ ,]{1,256}(?:[ ,]|$))(?:[0-9A-Za-z]++:[A-Za-z0-9_.:/@%=~-]++|[A-Za-z0-9_./@%=~-]++)(?:[ ,]++|$))++$") {
    return (synth(400, "A tag of Surrogate-Key is a name, or a kind, a colon and a name, of letters, digits and _.:/@%=~- only."));
  }
  # Words with one bar between them, whatever stood there.
  set req.http.X-Purge-Tags = regsuball(regsuball(req.http.Surrogate-Key, "^[ ,]+|[ ,]+$", ""), "[ ,]+", "|");
  call drop_repeated_tags;
  if (!std.ban("obj.http.Surrogate-Key ~ (?:^|[\x20,])(?:" + regsuball(req.http.X-Purge-Tags, "[.]", "[.]") + ")(?:[\x20,]|$)")) {
    return (synth(500, "The ban was refused."));
  }
  set req.http.X-Purged = {"{"tags":[""} + regsuball(req.http.X-Purge-Tags, "[|]", {"",""}) + {""]"} + "}";
  return (synth(200));
}

# A ban is compared with every object, tag by tag. The last of equal ones stays; in a longer list it would take too
# many steps to find it, and the endpoint-broadcaster has dropped them.
sub drop_repeated_tags {
  if (req.http.X-Purge-Tags ~ "^.{0,4096}$") {
    set req.http.X-Purge-Tags = regsuball(req.http.X-Purge-Tags, "(?<![^|])([^|]++)\|(?=(?:[^|]++\|)*?\1(?![^|]))", "");
  }
}

sub purge_url {
  call drop_bare_query;
  if (req.url !~ "^/[!#-\[\]-~]*$") {
    return (synth(400, "The URL holds a character that cannot be purged."));
  }
  if (!std.ban("obj.http.X-Stored-URL == " + req.url)) {
    return (synth(500, "The ban was refused."));
  }
  set req.http.X-Purged = {"{"url":""} + req.url + {"""} + "}";
  return (synth(200));
}

# A refusal ends all that is stored for the scope that it names. For a credential that has earned nothing the backend
# names none, and that costs no ban. The refetch of an answer needs no word: that answer names its scope. A name is
# checked like a client's tag: it may be an upstream's header that got through.
sub ban_refused_scope {
  if (beresp.status != 401 && beresp.status != 403) {
    return;
  }
  if (beresp.http.Surrogate-Key !~ "(?:^|[ ,])scope:") {
    set beresp.http.Surrogate-Key = bereq.http.X-Varnish-Tags;
  }
  if (beresp.http.Surrogate-Key ~ "(?:^|[ ,])scope:[A-Za-z0-9_.:/@%=~-]+(?:[ ,]|$)") {
    if (!std.ban("obj.http.Surrogate-Key ~ (?:^|[\x20,])" + regsuball(
        regsub(beresp.http.Surrogate-Key, "^(?:.*[ ,])?(scope:[A-Za-z0-9_.:/@%=~-]+)(?:[ ,].*)?$", "\1"), "[.]", "[.]") +
        "(?:[\x20,]|$)")) {
      std.log("ban of the refused scope failed: " + std.ban_error());
    }
  }
}
