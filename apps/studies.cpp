// The studies that `kindred reproduce` knows by name, with the rooms that they come from.
#include "harness/study.h"
