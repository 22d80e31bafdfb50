#define LEVEL 0
#define TABLE kernels_base
#include "kernels.h"
