/* Outside text for reports that are printed with stdio. */
#include "decoder/show/text.h"

void text_to_stream(FILE *to, const char *s)
{
  struct text t;
  text_open(&t, -1);
  text_escaped(&t, s, strlen(s), "");
  fwrite(t.base, 1, (size_t)(t.at - t.base), to);
  text_close(&t);
}

void text_xml_size(FILE *to, const char *s, size_t size)
{
  for (const char *p = s; p < s + size; p++) {
    switch (*p) {
      case '<': fputs("&lt;", to); break;
      case '>': fputs("&gt;", to); break;
      case '&': fputs("&amp;", to); break;
      case '"': fputs("&quot;", to); break;
      default: fputc(*p, to);
    }
  }
}

void text_to_xml(FILE *to, const char *s)
{
  struct text t;
  text_open(&t, -1);
  text_escaped(&t, s, strlen(s), "");
  text_xml_size(to, t.base, (size_t)(t.at - t.base));
  text_close(&t);
}
