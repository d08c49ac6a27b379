SELECT nope FROM {{ ref("carriers") }}
