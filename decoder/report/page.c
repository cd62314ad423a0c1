#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "decoder/report/report_part.h"
#include "decoder/show/text.h"

extern const char report_style_begin[], report_style_end[], report_body_begin[], report_body_end[],
    report_script_begin[], report_script_end[];

static void put(struct text *page, const char *begin, const char *end)
{
  text_raw(page, begin, (size_t)(end - begin));
}

/* Only the style and the script that we put in are allowed: 'sha256-...'. */
static void put_hash(struct text *page, const char *begin, const char *end)
{
  unsigned char hash[SHA256_DIGEST_LENGTH], text[64];
  SHA256((const unsigned char *)begin, (size_t)(end - begin), hash);
  EVP_EncodeBlock(text, hash, sizeof hash);
  text_s(page, "'sha256-");
  text_s(page, (const char *)text);
  text_c(page, '\'');
}

static void put_title(struct text *page, const char *title)
{
  struct text shown;
  text_open(&shown, -1);
  text_escaped(&shown, title, strlen(title), "");
  for (const char *c = shown.base; c < shown.at; c++) {
    switch (*c) {
      case '<': text_s(page, "&lt;"); break;
      case '>': text_s(page, "&gt;"); break;
      case '&': text_s(page, "&amp;"); break;
      default: text_c(page, *c);
    }
  }
  text_close(&shown);
}

/* jansson leaves ASCII. In JSON these three stand in strings only; without them nothing in it can end the element or begin
 * another (HTML, "script data state"). */
static int put_json(const char *bytes, size_t size, void *user)
{
  struct text *page = user;
  for (size_t i = 0; i < size; i++) {
    switch (bytes[i]) {
      case '<': text_s(page, "\\u003c"); break;
      case '>': text_s(page, "\\u003e"); break;
      case '&': text_s(page, "\\u0026"); break;
      default: text_c(page, bytes[i]);
    }
  }
  return 0;
}

char *page_make(json_t *data, const char *title, size_t *size)
{
  struct text page;
  text_open(&page, -1);
  text_s(&page,
         "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; base-uri 'none'; "
         "form-action 'none'; style-src ");
  put_hash(&page, report_style_begin, report_style_end);
  text_s(&page, "; script-src ");
  put_hash(&page, report_script_begin, report_script_end);
  text_s(&page,
         "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>");
  put_title(&page, title);
  text_s(&page, "</title>\n<style>");
  put(&page, report_style_begin, report_style_end);
  text_s(&page, "</style>\n</head>\n<body>\n");
  put(&page, report_body_begin, report_body_end);
  text_s(&page, "<script type=\"application/json\" id=\"data\">");
  const bool good = data && json_dump_callback(data, put_json, &page, JSON_COMPACT | JSON_ENSURE_ASCII) == 0;
  text_s(&page, "</script>\n<script>");
  put(&page, report_script_begin, report_script_end);
  text_s(&page, "</script>\n</body>\n</html>\n");
  *size = (size_t)(page.at - page.base);
  if (good) return page.base;
  text_close(&page);
  return NULL;
}
