# Read by run.sh: results.tsv as text, HTML and JUnit XML.
# shellcheck shell=sh

report_text() {
  awk -F '\t' '
    BEGIN { print "" }
    { printf "%-8s %s\n", $3 == "yes" ? "works" : $3 == "no" ? "FAILS" : "skipped", $2
      if ($5 != "") print "           finding: " $5
      if ($6 != "") print "           call:    " $6
      if ($7 != "") print "           said:    " $7
      count[$3]++ }
    END { printf "\n%d of %d abilities work, %d fail, %d skipped\n", count["yes"], NR, count["no"], count["skipped"] }' "$1"
}

report_html() {
  printf '%s' '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>NSS readiness</title><style>
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color-scheme:light dark}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #8884;padding:.4em .6em;text-align:left;vertical-align:top}
.yes{color:#187a2f}.no{color:#b3261e;font-weight:600}.skipped{color:#777}code{font-size:.85em;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){.yes{color:#6fd08c}.no{color:#ff8a80}}</style>
'
  printf '<h1>Does the module work with NSS?</h1><p><code>%s</code>, token <code>%s</code></p>\n' \
    "$(printf %s "$module" | escape)" "$(printf %s "$token" | escape)"
  echo '<table><tr><th>Ability<th>Result<th>What shows it'
  escape <"$1" | awk -F '\t' '
    function more(name, text) { return text == "" ? "" : name " <code>" text "</code><br>" }
    { printf "<tr id=\"%s\"><td>%s<td class=\"%s\">%s<td>%s%s%s\n", $1, $2, $3, $3 == "yes" ? "works" : $3 == "no" ? "fails" : "skipped",
      more("finding", $5), more("call", $6), more("said", $7) }'
  echo '</table></html>'
}

report_junit() {
  escape <"$1" | awk -F '\t' '
    { line[NR] = $0; count[$3]++ }
    END {
      print "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
      printf "<testsuites><testsuite name=\"NSS readiness\" tests=\"%d\" failures=\"%d\" errors=\"0\" skipped=\"%d\">\n", NR, count["no"], count["skipped"]
      for (i = 1; i <= NR; i++) {
        split(line[i], f, "\t")
        printf "<testcase classname=\"nss-readiness\" name=\"%s: %s\">", f[1], f[2]
        if (f[3] == "no") printf "<failure type=\"%s\" message=\"%s\">%s\n%s\n%s</failure>", f[4], f[5] != "" ? f[5] : f[6], f[5], f[6], f[7]
        if (f[3] == "skipped") printf "<skipped message=\"%s\"/>", f[7]
        print "</testcase>"
      }
      print "</testsuite></testsuites>"
    }'
}

# For HTML and XML: control characters and bytes that are no ASCII become a dot (tabs stay, they separate).
escape() {
  LC_ALL=C tr '\000-\010\013-\037\177-\377' '.' | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'
}
