/* The files of page/ as data inside the decoder. Paths are those of a build in the top folder; the Makefile builds this file
 * again when one of them changes. */
#define PAGE "decoder/report/page/"
#define BEGIN(name)      \
  ".balign 16\n"         \
  ".globl report_" name  \
  "_begin\n"             \
  ".hidden report_" name \
  "_begin\n"             \
  "report_" name "_begin:\n"
#define FILE_OF(file) ".incbin \"" PAGE file "\"\n"
#define END(name)        \
  ".globl report_" name  \
  "_end\n"               \
  ".hidden report_" name \
  "_end\n"               \
  "report_" name "_end:\n.byte 0\n"

/* clang-format off */
__asm__(".pushsection .rodata\n"
        BEGIN("style") FILE_OF("style.css") END("style")
        BEGIN("body") FILE_OF("body.html") END("body")
        BEGIN("script")
          FILE_OF("data.js") FILE_OF("select.js") FILE_OF("summary.js") FILE_OF("timeline.js") FILE_OF("lanes.js")
          FILE_OF("findings.js") FILE_OF("table.js") FILE_OF("details.js") FILE_OF("latency.js") FILE_OF("keys.js")
        END("script")
        ".popsection\n");
/* clang-format on */

typedef int report_page_blob_is_only_data;
