/* The verbs. Each cmd_VERB.c parses its options with argp and calls one function of its room.
 * Exit status: 0 fine, 1 found something, 2 could not. */
#ifndef CMD_H
#define CMD_H

enum { EXIT_FINE = 0, EXIT_FOUND = 1, EXIT_COULD_NOT = 2 };

/* argv[0] is "p11trace VERB". */
int cmd_check(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_emit_c(int argc, char **argv);
int cmd_follow(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_objects(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_redact(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_symbolize(int argc, char **argv);
int cmd_trim(int argc, char **argv);
int cmd_wrap(int argc, char **argv);

#endif
