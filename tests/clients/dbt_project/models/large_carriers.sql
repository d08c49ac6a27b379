SELECT carrier, flights FROM {{ ref("carriers") }} WHERE flights > 50000
