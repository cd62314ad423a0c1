#include "shim/record/seal.h"

#include <string.h>
#include <sys/auxv.h>

#include <sodium/crypto_box.h>
#include <sodium/crypto_core_hsalsa20.h>
#include <sodium/crypto_generichash.h>
#include <sodium/crypto_onetimeauth_poly1305.h>
#include <sodium/crypto_stream_salsa20.h>
#include <sodium/utils.h>

#include "shim/record/options.h"
#include "shim/record/say.h"
#include "shim/record/sys.h"

/* How far libsodium's functions reach into the stack, at most; they leave keys there, which a core dump would hold. */
enum { STACK_OF_BOX = 2048, STACK_OF_SEAL = 6144 };

/* The public key is no secret and a fork's child needs it when it cannot read files any more. */
static uint8_t public_key[P11T_SEAL_KEY];
static bool has_public_key;
static uint8_t sealed_key[P11T_SEAL_BOX]; /* of this process */

/* Whoever can change the file would read what is sealed. */
static const char *distrust(int fd, const char *path)
{
  struct stat st;
  if (sys_fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return "is not a regular file";
  if (st.st_mode & 022) return "others may write it, so it is not used: chmod go-w it";
  if (getauxval(AT_SECURE) != 0 && st.st_uid != 0 && st.st_uid != geteuid())
    return "in a set-id program it must belong to root or to the program's owner";
  if (getauxval(AT_SECURE) != 0 && path[0] != '/')
    return "in a set-id program, whose folder is its caller's choice, the path must begin with /";
  return NULL;
}

static const char *read_key(int fd, const char *path, uint8_t key[P11T_SEAL_KEY])
{
  char text[4096];
  size_t n = 0;
  const char *problem = distrust(fd, path);
  if (problem != NULL) return problem;
  for (long r; n < sizeof text - 1 && (r = sys_read(fd, text + n, sizeof text - 1 - n)) > 0;) n += (size_t)r;
  text[n] = 0;
  if (p11t_seal_parse(text, P11T_SEAL_PRIVATE, key))
    problem = "is a private key, which belongs to whoever reads the trace: give NAME.pub";
  else if (!p11t_seal_parse(text, P11T_SEAL_PUBLIC, key))
    problem = "is not a public key: give the NAME.pub that `p11trace keygen` made";
  if (problem != NULL) explicit_bzero(key, P11T_SEAL_KEY);
  explicit_bzero(text, sizeof text);
  return problem;
}

bool p11t_seal_to(const char *path, const char *where)
{
  uint8_t key[P11T_SEAL_KEY];
  int saved = errno;
  long fd = sys_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
  const char *problem = NULL;
  if (fd < 0) {
    p11t_say("%s: seal-to=%.200s: cannot be read: %s", where, path, p11t_errno_text((int)-fd));
  } else {
    problem = read_key((int)fd, path, key);
    sys_close((int)fd);
    if (problem != NULL) p11t_say("%s: seal-to=%.200s: %s", where, path, problem);
  }
  errno = saved;
  if (fd < 0 || problem != NULL) return false;
  memcpy(public_key, key, sizeof public_key);
  has_public_key = true;
  return true;
}

/* crypto_box_seal with random bytes of our own: libsodium's generator may open files and calls abort() where it cannot. */
static __attribute__((noinline)) bool box_seal(uint8_t to[P11T_SEAL_BOX], const uint8_t message[P11T_SEAL_KEY])
{
  uint8_t seed[crypto_box_SEEDBYTES], secret[crypto_box_SECRETKEYBYTES], both[2 * P11T_SEAL_KEY];
  uint8_t nonce[crypto_box_NONCEBYTES];
  bool sealed = sys_random(seed, sizeof seed);
  if (sealed) {
    crypto_box_seed_keypair(both, secret, seed);
    memcpy(both + P11T_SEAL_KEY, public_key, P11T_SEAL_KEY);
    crypto_generichash(nonce, sizeof nonce, both, sizeof both, NULL, 0);
    memcpy(to, both, P11T_SEAL_KEY);
    sealed = crypto_box_easy(to + P11T_SEAL_KEY, message, P11T_SEAL_KEY, nonce, public_key, secret) == 0;
  }
  explicit_bzero(seed, sizeof seed);
  explicit_bzero(secret, sizeof secret);
  return sealed;
}

bool p11t_seal_start(void)
{
  struct p11t_guard *g = p11t_guard;
  enum p11t_capture capture = p11t_options.capture;
  g->has_seal_key = 0;
  if (capture == P11T_CAPTURE_FULL && !has_public_key) {
    p11t_say(
        "capture=full needs seal-to=FILE, a public key that values are sealed to (`p11trace keygen` makes one); "
        "recording "
        "with capture=safe");
    p11t_options.capture = P11T_CAPTURE_SAFE;
    return true;
  }
  if (capture <= P11T_CAPTURE_SAFE || !has_public_key) return true;
  if (!sys_random(g->seal_key, sizeof g->seal_key)) return false;
  g->has_seal_key = box_seal(sealed_key, g->seal_key);
  sodium_stackzero(STACK_OF_SEAL);
  if (g->has_seal_key) return true;
  p11t_say(
      "seal-to: nothing can be sealed to this public key: make another with `p11trace keygen`; secrets are not kept");
  explicit_bzero(g->seal_key, sizeof g->seal_key);
  if (capture == P11T_CAPTURE_FULL) p11t_options.capture = P11T_CAPTURE_SAFE;
  return true;
}

size_t p11t_seal_head(uint8_t out[P11T_SEAL_HEAD])
{
  if (!p11t_seals()) return 0;
  out[0] = P11T_SEAL_SCHEME;
  memcpy(out + 1, public_key, P11T_SEAL_KEY);
  memcpy(out + 1 + P11T_SEAL_KEY, sealed_key, P11T_SEAL_BOX);
  return P11T_SEAL_HEAD;
}

/* crypto_secretbox, a part at a time: its stream from byte 32 on, whose first 32 bytes are the key of its authenticator. A
 * value may be much longer than what there is room for at once. */
static __attribute__((noinline)) void box(struct p11t_writer *w, const uint8_t nonce[P11T_SEAL_NONCE],
                                          const uint8_t *bytes, uint64_t size)
{
  uint8_t subkey[crypto_core_hsalsa20_OUTPUTBYTES], part[512] = {0}, mac[P11T_SEAL_MAC];
  crypto_onetimeauth_poly1305_state state;
  size_t n = size < 32 ? (size_t)size : 32;
  crypto_core_hsalsa20(subkey, nonce, p11t_guard->seal_key, NULL);
  memcpy(part + 32, bytes, n);
  crypto_stream_salsa20_xor(part, part, 32 + n, nonce + 16, subkey);
  crypto_onetimeauth_poly1305_init(&state, part);
  explicit_bzero(part, 32);
  crypto_onetimeauth_poly1305_update(&state, part + 32, n);
  p11t_bytes(w, part + 32, n);
  for (uint64_t at = n; at < size; at += n) {
    n = size - at < sizeof part ? (size_t)(size - at) : sizeof part;
    crypto_stream_salsa20_xor_ic(part, bytes + at, n, nonce + 16, 1 + (at - 32) / 64, subkey);
    crypto_onetimeauth_poly1305_update(&state, part, n);
    p11t_bytes(w, part, n);
  }
  crypto_onetimeauth_poly1305_final(&state, mac);
  p11t_bytes(w, mac, sizeof mac);
  explicit_bzero(subkey, sizeof subkey);
  explicit_bzero(&state, sizeof state);
}

static unsigned n_length(uint64_t v)
{
  unsigned n = 1;
  for (; v >= 0x80; v >>= 7) n++;
  return n;
}

void p11t_seal_value(struct p11t_writer *w, enum p11t_seal_class class, const uint8_t *bytes, uint64_t size,
                     uint64_t kept, uint64_t tag, uint8_t shape)
{
  uint8_t nonce[P11T_SEAL_NONCE];
  uint32_t place = w->sealed++;
  p11t_seal_nonce(nonce, w->head.number, place, (uint8_t) class, size);
  p11t_u8(w, P11T_V_SEALED);
  p11t_n(w, size);
  p11t_n(w, 1 + n_length(place) + 8 + 1 + kept + P11T_SEAL_MAC);
  p11t_u8(w, (uint8_t) class);
  p11t_n(w, place);
  p11t_u64(w, tag);
  p11t_u8(w, shape);
  box(w, nonce, bytes, kept);
  sodium_stackzero(STACK_OF_BOX);
}
