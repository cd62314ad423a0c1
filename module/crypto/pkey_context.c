/* Contexts for asymmetric algorithms of our own providers, whatever engines the host has loaded. */
#include <openssl/evp.h>
#include <string.h>

#include "core/module.h"
#include "crypto/pkey.h"

/* A host may have made an engine its default for RSA or EC (the openssl command with -engine pkcs11 does), and OpenSSL asks
 * engines first for the algorithms that it knows by name, in every library context: our key would end at the engine, which
 * leads back to us. By their object identifiers, which the providers know too, it finds only providers. */
static const char *const identifiers[][2] = {
    {"RSA",     "1.2.840.113549.1.1.1"},
    {"DSA",     "1.2.840.10040.4.1"   },
    {"DH",      "1.2.840.113549.1.3.1"},
    {"EC",      "1.2.840.10045.2.1"   },
    {"X25519",  "1.3.101.110"         },
    {"X448",    "1.3.101.111"         },
    {"ED25519", "1.3.101.112"         },
    {"ED448",   "1.3.101.113"         },
};

EVP_PKEY_CTX *tok_pkey_context(const char *name)
{
  for (size_t i = 0; i < sizeof identifiers / sizeof identifiers[0]; i++)
    if (strcasecmp(identifiers[i][0], name) == 0) name = identifiers[i][1];
  return EVP_PKEY_CTX_new_from_name(tok_module->crypto, name, NULL);
}
