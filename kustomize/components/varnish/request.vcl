# What a request for embeddings says besides its body. README.md has the grammars.

# A proxy's request (RFC 9112, 3.2.2) would reach the backend as it is wherever Varnish does not take it apart.
sub refuse_foreign_url {
  if (req.url !~ "^/" && req.method != "CONNECT") {
    return (synth(400, "The URL must begin with a slash."));
  }
}

# In place of the builtin, whose .lower() can overrun the workspace (CVE-2026-93894).
sub vcl_req_host {
  if (req.http.Host ~ "[[:upper:]]") {
    set req.http.Host = std.tolower(req.http.Host);
  }
  if (!req.http.Host && req.proto == "HTTP/1.1") {
    return (synth(400, "A Host is needed."));
  }
  return;
}

# The query is in the key. One that may hold a credential passes: nothing then keeps it, in the store or in a ban.
sub judge_query {
  call drop_bare_query;
  if (req.url ~ "\?" && req.url !~ "^(?=.{0,1024}$)[!-~]+$") {
    return (pass);
  }
  if (req.url ~ "(?i)[?&;][^=&;]*(?:[%+]|auth|cred|key|jwt|passw|secret|session|sign|token)" ||
      req.url ~ "(?i)[?&;](?:code|pass|pwd|sig)(?:[=&;]|$)") {
    return (pass);
  }
}

sub drop_bare_query {
  set req.url = regsub(req.url, "^([^?]*)\?$", "\1");
}

# What the grammar does not allow means no-store: it may hide a directive.
sub obey_cache_control {
  if (req.http.Cache-Control !~ {"^(?=.{0,1024}$)(?:[ \t]*+(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++|"(?:[\t !#-\[\]-~]|\\[\t -~])*+"))?+[ \t]*+)?+(?:,|$))++$"}) {
    return (pass);
  }
  # Names with a comma between them: an argument may hold anything.
  set req.http.X-Directives = regsuball(req.http.Cache-Control, {"=(?:"(?:[^"\\]|\\.)*+"|[^,]*+)|[ \t]++"}, "");
  if (req.http.X-Directives ~ "(?i)(?:^|,)no-store(?:,|$)") {
    return (pass);
  }
  if (req.http.X-Directives ~ "(?i)(?:^|,)no-cache(?:,|$)") {
    call refresh;
  }
}

