"""The functions with the same results as on Athena. All other functions of Athena are refused by name."""

from collections import defaultdict

from local.emulator.athena.sql.functions import aggregates, collections, json, moments, numbers, text, urls
from local.emulator.athena.sql.signatures import Signature

_SCALARS = [
    *collections.SIGNATURES,
    *json.SIGNATURES,
    *moments.SIGNATURES,
    *numbers.SIGNATURES,
    *text.SIGNATURES,
    *urls.SIGNATURES,
]
_ALIASES = {**collections.ALIASES, **moments.ALIASES, **numbers.ALIASES, **text.ALIASES, **aggregates.ALIASES}

# Functions of Athena (Trino's list of functions) that are not supported locally.
REFUSED = frozenset(
    """
    all any approx_most_frequent approx_set array_frequency array_histogram bar beta_cdf bing_tile
    bing_tile_at bing_tile_coordinates bing_tile_polygon bing_tile_quadkey bing_tile_zoom_level
    bing_tiles_around bitwise_left_shift bitwise_right_shift bitwise_right_shift_arithmetic cbrt
    checksum classify color combinations contains_sequence convex_hull_agg cosine_similarity crc32
    empty_approx_set entropy evaluate_classifier_predictions features format format_number from_base
    from_base32 from_base64url from_big_endian_32 from_big_endian_64 from_encoded_polyline
    from_geojson_geometry from_ieee754_32 from_ieee754_64 from_iso8601_timestamp_nanos
    from_unixtime_nanos geometry_from_hadoop_shape geometry_invalid_reason geometry_nearest_points
    geometry_to_bing_tiles geometry_union geometry_union_agg great_circle_distance hamming_distance
    hash_counts hmac_md5 hmac_sha1 hmac_sha256 hmac_sha512 human_readable_seconds index
    intersection_cardinality inverse_beta_cdf inverse_normal_cdf jaccard_index json_array json_exists json_extract_array json_object json_query json_value
    kurtosis learn_classifier learn_libsvm_classifier learn_libsvm_regressor learn_regressor
    levenshtein_distance line_interpolate_point line_interpolate_points line_locate_point listagg
    luhn_check make_set_digest map_union map_zip_with merge merge_set_digest multimap_agg
    multimap_from_entries murmur3 ngrams normal_cdf numeric_histogram objectid parse_data_size
    parse_duration parse_presto_data_size qdigest_agg quantile_at_value reduce_agg regexp_position
    regress render sha512 shuffle simplify_geometry skewness some soundex spatial_partitioning
    spatial_partitions split_to_multimap spooky_hash_v2_32 spooky_hash_v2_64 st_area st_asbinary
    st_astext st_boundary st_buffer st_centroid st_contains st_convexhull st_coorddim st_crosses
    st_difference st_dimension st_disjoint st_distance st_endpoint st_envelope st_envelopeaspts
    st_equals st_exteriorring st_geometries st_geometryfromtext st_geometryn st_geometrytype
    st_geomfrombinary st_interiorringn st_interiorrings st_intersection st_intersects st_isclosed
    st_isempty st_isring st_issimple st_isvalid st_length st_linefromtext st_linestring st_multipoint
    st_numgeometries st_numinteriorring st_numpoints st_overlaps st_point st_pointn st_points st_polygon
    st_relate st_startpoint st_symdifference st_touches st_union st_within st_x st_xmax st_xmin st_y
    st_ymax st_ymin tdigest_agg to_base to_base32 to_base64url
    to_big_endian_32 to_big_endian_64 to_encoded_polyline to_geojson_geometry to_geometry to_ieee754_32
    to_ieee754_64 to_spherical_geography trim_array url_encode value_at_quantile values_at_quantiles
    version width_bucket wilson_interval_lower wilson_interval_upper word_stem xxhash64
    """.split()  # noqa: SIM905 - a list of words reads better as text
)

# Functions that are supported with fewer arguments only: the numbers of arguments that are refused.
REFUSED_ARGUMENTS = {
    "array_sort": {2},
    "max": {2},
    "max_by": {3},
    "min": {2},
    "min_by": {3},
    "strpos": {3},
    "truncate": {2},
}


def _by_name(signatures: list[Signature]) -> dict[str, list[Signature]]:
    named = defaultdict(list)
    for one in signatures:
        named[one.name].append(one)
    for alias, name in _ALIASES.items():
        if name in named:
            named[alias] = named[name]
    return dict(named)


SCALARS = _by_name(_SCALARS)
AGGREGATES = _by_name(aggregates.SIGNATURES)
WINDOW_FUNCTIONS = _by_name(aggregates.WINDOW_SIGNATURES)
