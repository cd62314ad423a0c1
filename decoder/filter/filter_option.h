/* -e and --calls for the verbs that have them: the same words, the same errors, the same help. */
#ifndef FILTER_OPTION_H
#define FILTER_OPTION_H

#include "decoder/filter/filter.h"

/* Adds what the user wrote, or says what is wrong with it and ends the program with status 2. `verb` is "p11trace dump". */
void filter_option_expression(const char *verb, struct filter *filter, const char *expression);
void filter_option_calls(const char *verb, struct filter *filter, const char *set);

/* What --help says of the grammar. */
#define FILTER_HELP                                                                                                   \
  "Expressions of -e: KEY=VALUE,VALUE,!VALUE is true for one of the values without a ! and none of those with one.\n" \
  "  fn=C_Sign,C_Verify*   functions; * stands for any characters\n"                                                  \
  "  fn=%session,!C_Login  groups: %general %slot %token %session %object\n"                                          \
  "                        %encrypt %decrypt %digest %sign %verify %dual %key\n"                                      \
  "                        %random %parallel %message %async, by version %2.40\n"                                     \
  "                        %3.0 %3.2, by what they do %static %poll %sessions\n"                                      \
  "                        %login %objects %find %operation %rng %event\n"                                            \
  "  rv=failed             also ok, open (in flight at the end), unwound,\n"                                          \
  "                        CKR_PIN_INCORRECT, 0xa0\n"                                                                 \
  "  session=0x1 slot=0 object=12 module=1 pid=4711 tid=4712\n"                                                       \
  "  thread='Socket*'      name of the thread\n"                                                                      \
  "  mechanism=CKM_ECDSA   of C_Sign and the like: what C_SignInit said\n"                                            \
  "  class=CKO_PRIVATE_KEY label='My key*'   in a template\n"                                                         \
  "  duration>10ms time<2s also <= >= = and !=; time counts from the start\n"                                         \
  "  probe, !probe         calls that the recorder made itself (probe=), others\n"                                    \
  "Examples:\n"                                                                                                       \
  "  -e rv=failed,!CKR_BUFFER_TOO_SMALL\n"                                                                            \
  "  -e fn=%sign -e 'duration>=50ms' --calls 1000-\n"

#endif
