# Shared by ./check and ./demo: installs packages by name, configures, builds. Meant to be sourced.

kindred_build_packages="g++ cmake ninja-build pkg-config libxtensor-dev libxtensor-blas-dev libxsimd-dev libdnnl-dev
  libopenblas-openmp-dev liblapack-dev libboost-program-options-dev libhdf5-dev libfftw3-dev librandom123-dev
  nlohmann-json3-dev libpng-dev zlib1g-dev libssl-dev libjs-chart.js"
kindred_test_packages="catch2 python3-h5py"
kindred_data_packages="dataset-fashion-mnist"

# kindred_packages GROUP...: makes sure that the packages of build, test or data are there.
kindred_packages() {
  local group missing="" package names
  for group in "$@"; do
    names=kindred_${group}_packages
    for package in ${!names}; do
      [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=" $package"
    done
  done
  [ -n "$missing" ] || return 0
  if [ "${KINDRED_NO_INSTALL:-0}" = 1 ]; then
    echo "missing packages:$missing" >&2
    echo "install them, or leave out --no-install" >&2
    return 1
  fi
  local apt=(apt-get)
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "not root and no sudo; as root: apt-get install$missing" >&2; return 1; }
    apt=(sudo apt-get)
  fi
  echo "installing with ${apt[*]}:$missing"
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086
  if { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends $missing; } \
      >"$log" 2>&1 </dev/null; then
    rm -f "$log"
  else
    tail -n 5 "$log" >&2
    echo "could not install:$missing (full log: $log)" >&2
    return 1
  fi
}

kindred_build_dir() {
  case $1 in
    release) echo build ;;
    asan-ubsan) echo build-asan ;;
    *) echo "build-$1" ;;
  esac
}

# kindred_build PRESET [TARGET]: configures and builds; quiet but for the compiler's own words.
kindred_build() {
  local start=$SECONDS
  echo "building (preset $1) ..."
  cmake --preset "$1" >"/tmp/kindred-cmake-$$.log" 2>&1 || { cat "/tmp/kindred-cmake-$$.log" >&2; return 1; }
  rm -f "/tmp/kindred-cmake-$$.log"
  cmake --build --preset "$1" ${2:+--target "$2"}
  echo "built in $((SECONDS - start)) s"
}
